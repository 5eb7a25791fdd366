"""What all tests of this folder need."""

import signal

# A shell starts background jobs with these ignored, and whatever we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
