use gc_core::{Gc, Trace};

#[derive(Trace)]
struct Person {
    name: String,
}

fn main() {
    let person = Gc::new(Person { name: String::from("Ada") });
    let name: &str = &person.name;
    // A collection here might drop `person`, whose `Gc` nobody needs any more.
    println!("{name}");
}
