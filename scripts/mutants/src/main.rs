//! Where expressions begin and end: prints, for each Rust file named, one line for each place where a mutant may be switched on.
//!
//! `binary START END OPERATOR_START OPERATOR_END`, `unary START END OPERAND_START`, `arm START ARROW GUARD_START GUARD_END` (the
//! guard's are `-` where there is none), `body START` of a function that is not `const`; positions are LINE:COLUMN from 1.

use proc_macro2::LineColumn;
use std::env;
use std::fs;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

struct Places;

fn at(position: LineColumn) -> String {
    format!("{}:{}", position.line, position.column + 1)
}

impl<'ast> Visit<'ast> for Places {
    fn visit_expr_binary(&mut self, expression: &'ast syn::ExprBinary) {
        // Conditions with `let` in them are no expressions of their own.
        if !contains_let(&expression.left) && !contains_let(&expression.right) {
            let (whole, operator) = (expression.span(), expression.op.span());
            println!(
                "binary {} {} {} {}",
                at(whole.start()),
                at(whole.end()),
                at(operator.start()),
                at(operator.end())
            );
        }
        visit::visit_expr_binary(self, expression);
    }

    fn visit_expr_unary(&mut self, expression: &'ast syn::ExprUnary) {
        let (whole, operand) = (expression.span(), expression.expr.span());
        println!(
            "unary {} {} {}",
            at(whole.start()),
            at(whole.end()),
            at(operand.start())
        );
        visit::visit_expr_unary(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let guard = arm.guard.as_ref().map_or_else(
            || "- -".to_owned(),
            |(_, guard)| format!("{} {}", at(guard.span().start()), at(guard.span().end())),
        );
        println!(
            "arm {} {} {guard}",
            at(arm.span().start()),
            at(arm.fat_arrow_token.span().start())
        );
        visit::visit_arm(self, arm);
    }

    // Constants and constant functions cannot ask for the switch.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        visit::visit_expr(self, &repeat.expr);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() {
            println!("body {}", at(item.block.span().start()));
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() {
            println!("body {}", at(item.block.span().start()));
            visit::visit_impl_item_fn(self, item);
        }
    }
}

fn contains_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => contains_let(&binary.left) || contains_let(&binary.right),
        _ => false,
    }
}

fn main() {
    for path in env::args().skip(1) {
        let text = fs::read_to_string(&path).unwrap();
        println!("file {path}");
        Places.visit_file(&syn::parse_file(&text).unwrap());
    }
}
