"""From a request to the engine and back: what is asked, checked, taken in, waited for and kept."""
