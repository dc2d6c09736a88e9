//! The platform's language: names, specs, plans, the executor and the traits that everything else implements.
