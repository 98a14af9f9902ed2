"""The pages of the methods, written from their classes and records, and the site of all pages."""
