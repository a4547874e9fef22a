"""kdyolo: distil a large YOLOv5 detector into a small one, and know whether it helped."""
