"""Objectives of training: values of calculations and how they are compared with references."""
