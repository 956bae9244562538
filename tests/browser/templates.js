// Grafana's templateSrv for the variables of a board: a reading of its documented behaviour.
const MENTION = /\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]|\$\{(\w+)([.\w]*)(?::([^}]+))?\}/g;

export class Templates {
  constructor(range) {
    this.range = range;
    this.variables = [];
    this.filters = [];
  }

  getVariables() {
    return this.variables;
  }

  getAdhocFilters() {
    return this.filters;
  }

  containsTemplate(text) {
    return new RegExp(MENTION.source).test(text ?? '');
  }

  updateTimeRange() {}

  /** Fills the variables one after the other, as later ones mention earlier ones. */
  async load(list, source, params) {
    this.variables = [];
    for (const variable of list) {
      const wanted = params.getAll(`var-${variable.name}`);
      let options = [];
      if (variable.type === 'query') {
        options = await source.metricFindQuery(variable.query, { range: this.range(), scopedVars: {} });
      }
      const isAll = variable.includeAll && !wanted.length;
      const first = options[0]?.value ?? '';
      const value = isAll ? options.map((option) => option.value) : variable.multi ? wanted : wanted[0] ?? first;
      const current = variable.type === 'datasource' ? { text: 'Weir', value: 'weir' } : { text: isAll ? ['All'] : value, value };
      this.variables.push({ ...variable, options, current });
    }
  }

  replace(text, scoped = {}, format) {
    const range = this.range();
    const globals = { __from: range.from.valueOf(), __to: range.to.valueOf() };
    return (text ?? '').replace(MENTION, (whole, bare, square, squareFormat, braced, path, bracedFormat) => {
      const name = bare ?? square ?? braced;
      const variable = this.variables.find((one) => one.name === name);
      const inside = (of) => (path ?? '').split('.').filter(Boolean).reduce((found, key) => found?.[key], of);
      const field = scoped?.__dataContext?.value.field;
      const value = inside(name === '__field' ? field : undefined) ?? inside(scoped?.[name]?.value) ?? variable?.current.value ?? globals[name];
      return value === undefined ? whole : this.written(value, variable ?? {}, squareFormat ?? bracedFormat ?? format);
    });
  }

  written(value, variable, format) {
    const all = [].concat(value);
    if (typeof format === 'function') {
      return format(value, variable);
    }
    if (format === 'singlequote') {
      return all.map((one) => `'${String(one).replace(/'/g, "\\'")}'`).join(',');
    }
    return Array.isArray(value) && format !== 'csv' && format !== 'raw' ? `{${all.join(',')}}` : all.join(',');
  }
}
