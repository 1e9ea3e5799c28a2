"""What the commands print: tables, figures of size and time, progress, the HTML page of `inspect`."""
