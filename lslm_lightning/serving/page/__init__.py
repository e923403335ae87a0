"""Page of `lslm serve` on which people use the models: one self-contained document in English and
Chinese, which works without JavaScript too.
"""

from lslm_lightning.serving.page.routes import add_page

__all__ = ["add_page"]
