"""The checks that deploy/check.sh makes."""
