//! The client against a scripted server: what is sent, and what is made of the answers.

mod calls;
mod key;
mod limits;
mod lists;
mod logins;
mod retries;
mod script;
mod types;
