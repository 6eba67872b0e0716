"""The admin dashboard: it reads the query, asks for the report and lays it out."""
