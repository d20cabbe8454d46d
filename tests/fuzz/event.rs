#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    guardrail_tests::parsers::event(text);
});
