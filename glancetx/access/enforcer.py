"""What the ``oslopolicy-*`` tools ask for: oslo.policy's own enforcer with our rules. The service does not use it."""

from __future__ import annotations

import os

from oslo_config import cfg
from oslo_policy import policy

from glancetx.access.rules import list_rules
from glancetx.config.loading import find_config_files


def get_enforcer() -> policy.Enforcer:
    """An enforcer that reads the policy files which a service started here would read.

    The tools have read their command line into oslo.config's global object; its ``--config-file`` and
    ``--config-dir`` count. Without these, files are looked for where the service looks.
    """
    conf = cfg.CONF  # not one of our own: the tools look into this one afterwards
    if not conf.config_file and not conf.config_dir:
        files = [f"--config-file={path}" for path in find_config_files(os.environ)]
        conf(files, project="glancetx", default_config_files=[], default_config_dirs=[])
    enforcer = policy.Enforcer(conf)
    if (found := conf.find_file(conf.oslo_policy.policy_file)) is not None:
        conf.set_override("policy_file", found, "oslo_policy")  # the validator opens it from where it was started
    enforcer.suppress_default_change_warnings = True  # there would be one for nearly every rule
    enforcer.register_defaults(list_rules())
    return enforcer
