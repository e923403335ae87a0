"""Personal data in texts: e-mail addresses, phone numbers, identity numbers, payment cards, bank
accounts, IP addresses, and names from a list.
"""

from lslm_lightning.text.personal_data.finder import KINDS, PersonalData, PersonalDataFinder
from lslm_lightning.text.personal_data.redaction import Redaction, placeholder_of

__all__ = ["KINDS", "PersonalData", "PersonalDataFinder", "Redaction", "placeholder_of"]
