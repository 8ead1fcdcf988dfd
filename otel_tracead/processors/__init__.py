"""What works on spans between receivers and exporters."""
