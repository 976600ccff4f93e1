"""Texts that a spreadsheet would execute, and what a CSV has instead."""

#: Each text, and the text without its effect. After which characters a cell begins depends on the locale.
FORMULAS = {
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(A1)": "'@SUM(A1)",
    "\uff1d1+1": "'\uff1d1+1",
    " =1+1": "' =1+1",
    "\u00a0\ufeff=1+1": "'\u00a0\ufeff=1+1",
    '"=1+1"': "'\"=1+1\"",
    "'=1+1": "''=1+1",
    "' \"@SUM(A1)": "'' \"@SUM(A1)",
    "\tx": "'\tx",
    "\rx": "'\rx",
    "\t=1": "'\t'=1",
    "\r=1": "'\r'=1",
    "\n=1": "'\n'=1",
    "x;=1+1": "x;'=1+1",
    ";-1": ";'-1",
    "=1;y;=2": "'=1;y;'=2",
    'x; "@A': "x;' \"@A",
    "x;\uff1d1": "x;'\uff1d1",
    "x\t=1": "x\t'=1",
    "x;\t@A": "x;'\t'@A",
    "x\n=1": "x\n'=1",
    "x\r\n+1": "x\r\n'+1",
}  # fmt: skip
