"""For all tests, ours and the plugins': a busy machine makes no Hypothesis test fail."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("cgjobs", deadline=None, print_blob=True)
hypothesis.settings.load_profile("cgjobs")
