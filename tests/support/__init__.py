"""What several tests share: sources of listed requests, laws of known cost, random cases, comparisons."""
