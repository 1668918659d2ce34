"""Large files through the Uploads API: cut, sent in parallel, remembered, completed."""
