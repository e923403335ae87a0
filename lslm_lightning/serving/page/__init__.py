"""Page of `lslm serve` on which people use the models: one self-contained document in English and
Chinese, which works without JavaScript too.
"""

from lslm_lightning.serving.page.routes import ErrorPage, add_page

__all__ = ["ErrorPage", "add_page"]
