"""Tables, findings and figures -> one self-contained HTML file."""
