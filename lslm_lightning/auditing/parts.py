"""Parts of an audit, in order."""

from lslm_lightning.auditing.bias import Bias
from lslm_lightning.auditing.calibration import CalibrationPart
from lslm_lightning.auditing.canaries import PlantedCanaries
from lslm_lightning.auditing.classifier import ClassifierPart
from lslm_lightning.auditing.contamination import Contamination
from lslm_lightning.auditing.lexicon import LexiconPart
from lslm_lightning.auditing.licence_part import LicencePart
from lslm_lightning.auditing.memorization import Memorization
from lslm_lightning.auditing.part import AuditPart
from lslm_lightning.auditing.personal_data import PersonalDataPart
from lslm_lightning.auditing.robustness import RobustnessPart
from lslm_lightning.auditing.settings import AuditSettings


def audit_parts(settings: AuditSettings) -> list[AuditPart]:
    """Return all parts of an audit, in the order in which they are measured and shown."""
    return [
        Memorization(settings.n_sample),
        PlantedCanaries(),
        Contamination(),
        LicencePart(settings.intended_use),
        PersonalDataPart(settings.names),
        Bias(settings.pairs),
        RobustnessPart(settings.names, settings.against, settings.seed),
        CalibrationPart(settings.seed),
        LexiconPart(settings.lexicon),
        ClassifierPart("".join(settings.classifier[:1]), settings.classifier[1:]),
    ]
