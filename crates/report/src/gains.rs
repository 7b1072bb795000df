//! The table of the difference gain by layer, for first weights of several kinds.

use temper_record::console::digits;

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

/// One row a layer and two columns for each kind of first weights: the gain before and after batch norm. A last row has the
/// product over all layers, by which the bounds widen in all, as far as every layer has a gain.
pub fn gain_table(layers: &[String], inits: &[InitGains]) -> Table {
    let mut table = Table::new().text_column("layer");
    for init in inits {
        let group = format!("{} init", init.init);
        table = table.number_column(&group, "before BN").number_column(&group, "after BN");
    }
    let cell = |gain: Option<f64>| gain.map_or("–".to_owned(), |gain| digits(gain, 3));
    for (n, layer) in layers.iter().enumerate() {
        let gains = inits.iter().flat_map(|init| [&init.before, &init.after]);
        let cells = gains.map(|gains| cell(gains.get(n).copied().flatten()));
        table.row(std::iter::once(layer.clone()).chain(cells));
    }
    if layers.len() > 1 {
        let product = |gains: &Vec<Option<f64>>| {
            (0..layers.len())
                .map(|n| gains.get(n).copied().flatten())
                .try_fold(1.0, |product, gain| Some(product * gain?))
        };
        let cells = inits.iter().flat_map(|init| [product(&init.before), product(&init.after)]).map(cell);
        table.row(std::iter::once("all layers".to_owned()).chain(cells));
    }
    table
}
