# sink sqlite
