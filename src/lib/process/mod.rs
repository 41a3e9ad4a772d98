//! The roles: monitor, login process, session process, spool helper.
