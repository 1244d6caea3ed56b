"""PowUnity BikeTrax, a Traccar 5.12 deployment: sessions, reports that are recomputed, knots and milliseconds."""
