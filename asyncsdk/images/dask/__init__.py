"""`edit_many(dask=)`: a copy of the run on each worker of a Dask cluster, and the driver, which sends nothing."""
