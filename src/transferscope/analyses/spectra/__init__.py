"""Appendix: the spectra of the convolutions as linear operators."""
