# A table that is grown for ever, which C cannot say.
	.globl	table_grow
	.export_name	table_grow, table_grow
	.tabletype	entries, externref
entries:

table_grow:
	.functype	table_grow () -> ()
	loop
	ref.null_extern
	i32.const	1
	table.grow	entries
	drop
	br	0
	end_loop
	end_function
