# sink null
