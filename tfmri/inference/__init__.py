"""What a trained model says of prepared scans."""
