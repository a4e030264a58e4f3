"""What `import search` offers: a study to run, to resume and to open."""
