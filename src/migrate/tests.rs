//! Boards and provisioning files, and what becomes of them.
