std = "luajit"
max_string_line_length = false
max_line_length = 100
exclude_files = { "build" }
files["spec"] = { std = "+busted", max_line_length = 180 }
