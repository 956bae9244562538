//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};

/// `N` different ports that were free a moment ago. They are held together while they are chosen, and
/// another process may take one afterwards: who starts a server on one tries again with others.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
