//! Sockets that go past the tunnel and its block.
//!
//! The child asks while the gateway is being dialled, so perhaps while a strict block stands that a lost tunnel left
//! behind: then only what carries our mark leaves. To mark a socket takes a capability, and the child has none
//! while it speaks with strangers. So the sockets are made and marked before it gives its rights up, as many as an
//! inquiry can need.

use crate::network::plan::Places;
use crate::service::rights;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpSocket;

/// How many sockets of each family are made.
const EACH_FAMILY: usize = 32;

/// The sockets that are left.
#[derive(Debug, Default)]
pub struct Stock {
    v4: Mutex<VecDeque<TcpSocket>>,
    v6: Mutex<VecDeque<TcpSocket>>,
}

impl Stock {
    /// Makes and marks the sockets. A system without marks, or without a family, has none in stock.
    pub fn lay_in() -> Self {
        let made = |make: fn() -> io::Result<TcpSocket>| {
            let marked = || {
                let socket = make()?;
                rights::mark(&socket, Places::default().mark.0)?;
                io::Result::Ok(socket)
            };
            Mutex::new((0..EACH_FAMILY).map_while(|_| marked().ok()).collect())
        };
        Self { v4: made(TcpSocket::new_v4), v6: made(TcpSocket::new_v6) }
    }

    /// Takes a socket to that address. Where none is left it is one that goes the way of everything.
    pub(super) fn take(&self, to: SocketAddr) -> io::Result<TcpSocket> {
        let (shelf, make): (_, fn() -> io::Result<TcpSocket>) = match to {
            SocketAddr::V4(_) => (&self.v4, TcpSocket::new_v4),
            SocketAddr::V6(_) => (&self.v6, TcpSocket::new_v6),
        };
        let socket = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        socket.map_or_else(make, Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_stock_goes_first_and_then_a_new_one() {
        let prepared = TcpSocket::new_v4().unwrap();
        prepared.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let known = prepared.local_addr().unwrap();
        let stock = Stock { v4: Mutex::new([prepared].into()), ..Stock::default() };
        let to = "192.0.2.1:80".parse().unwrap();
        assert_eq!(stock.take(to).unwrap().local_addr().unwrap(), known);
        assert_eq!(stock.take(to).unwrap().local_addr().unwrap().port(), 0);
    }
}
