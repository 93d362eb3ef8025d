"""How wrong a forecast is by lead where an installation has no pairs of its own yet. Pure."""

LEAD_ERROR_G_PER_KWH = ((1, 13.1), (3, 17.1), (6, 22.4), (12, 23.7), (24, 24.0), (36, 25.8), (48, 27.0))
"""Mean absolute error of 49 forecasts as issued for Great Britain in March 2023 against the actuals, by hours
of lead up to the first figure. A default until an installation has pairs of its own; scaled for other
grids by the forecast's own mean over the 128.3 g/kWh of that time."""
REFERENCE_G_PER_KWH = 128.3
