"""Files in buckets and on web servers, by URL: the one place that speaks to stores other than the API."""
