# Python's versions as dpkg sorts them: a tilde comes before the end of a version, two come before one.
s/^([0-9.]+)(a|b|rc)/\1~\2/
s/\.dev/~~dev/
