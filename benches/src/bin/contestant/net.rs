//! A server that sends back what it gets.

use std::io::{Read, Write};
use tricolor::net::{TcpListener, TcpStream};
use tricolor_bench_program::{Ask, tell_address, wait_for_end_of_input};

pub fn echo(_: &Ask) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    tell_address(&listener.local_addr().expect("its address"));
    tricolor::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            tricolor::spawn(move || serve(stream));
        }
    });
    tricolor::blocking((), |()| wait_for_end_of_input());
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("no delay");
    let mut buffer = [0_u8; 1024];
    // A connection that the client ends, in whatever way, is over.
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}
