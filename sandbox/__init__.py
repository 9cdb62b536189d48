"""Stand-ins for what a demo or a test cannot reach. The product never imports them, they never import the product."""
