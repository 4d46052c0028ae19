"""What imports do before the data goes to the stores: a module for each step (`glancetx.interfaces.IImportStep`)."""
