"""The paper's figures and tables, one file each. A file is data: which runs, and what is drawn from them."""
