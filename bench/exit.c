// A program that does nothing: linked statically and dynamically for the exec rows.
int main(void) { return 0; }
