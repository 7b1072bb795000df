//! The table of the difference gain by layer, for first weights of several kinds.

use temper_base::numbers::digits;

use crate::table::Table;

/// How the bounds widen from layer to layer with first weights of one kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InitGains {
    /// Name of the first weights, e.g. `default`.
    pub init: String,
    /// For every layer: mean width of its affine output over that of the pre-activation before it (section 3 of arXiv
    /// 2103.17268); None where a layer has none.
    pub before: Vec<Option<f64>>,
    /// The same after the layer's batch norm; None where it has none.
    pub after: Vec<Option<f64>>,
}

/// One row a layer and two columns for each kind of first weights: the gain before and after batch norm. A column that no
/// layer has a number for is left out.
pub fn gain_table(layers: &[String], inits: &[InitGains]) -> Table {
    let mut table = Table::new().text_column("layer");
    let mut columns: Vec<&[Option<f64>]> = Vec::new();
    for init in inits {
        for (gains, name) in [(&init.before, "before BN"), (&init.after, "after BN")] {
            if gains.iter().any(Option::is_some) {
                table = table.number_column(&format!("{} init", init.init), name);
                columns.push(gains);
            }
        }
    }
    for (n, layer) in layers.iter().enumerate() {
        let gain = |gains: &&[Option<f64>]| gains.get(n).copied().flatten().map_or("–".to_owned(), |g| digits(g, 3));
        table.row(std::iter::once(layer.clone()).chain(columns.iter().map(gain)));
    }
    table
}
