# sink file
