"""What the images are for: evaluate, judge, walk, augment, recognise, export; a file or a folder each."""
