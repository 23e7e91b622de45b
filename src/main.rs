fn main() -> std::process::ExitCode {
    nsh::run()
}
