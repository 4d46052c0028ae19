"""Options as the operator writes them, settings as the rooms read them. oslo.config is used here and nowhere else."""
