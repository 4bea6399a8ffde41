"""What came out, for people: `page.write_report` for the browser, `table` for the terminal."""
