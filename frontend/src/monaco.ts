// What we use of Monaco, which is Grafana's, and its completion of our texts.
import { Offer } from './complete';

export interface Model {
  getValue(): string;
  getOffsetAt(position: MonacoPosition): number;
  getLineContent(line: number): string;
}

interface MonacoPosition {
  lineNumber: number;
  column: number;
}

export interface Editor {
  getValue(): string;
  getModel(): Model | null;
  updateOptions(options: object): void;
  onDidChangeModelContent(listener: () => void): void;
  addCommand(keys: number, handler: () => void): void;
}

export interface Monaco {
  KeyMod: { CtrlCmd: number };
  KeyCode: { Enter: number };
  editor: { setModelMarkers(model: Model, owner: string, markers: object[]): void };
  languages: {
    CompletionItemKind: Record<string, number>;
    registerCompletionItemProvider(language: string, provider: object): void;
  };
}

type Offering = (sql: string, at: number) => Promise<Offer[]>;

const KINDS: Record<Offer['kind'], string> = {
  project: 'Folder',
  dataset: 'Module',
  table: 'Struct',
  column: 'Field',
  macro: 'Snippet',
  function: 'Function',
  keyword: 'Keyword',
  variable: 'Variable',
};

const offerings = new WeakMap<Model, Offering>();
const provided = new WeakSet<Monaco>();

/** Completion for one editor; the provider is one for all, as it is one for the language. */
export function provide(monaco: Monaco, editor: Editor, offering: Offering): void {
  const model = editor.getModel();
  if (model) {
    offerings.set(model, offering);
  }
  if (provided.has(monaco)) {
    return;
  }
  provided.add(monaco);
  monaco.languages.registerCompletionItemProvider('sql', {
    triggerCharacters: ['.', '$', '`', ' '],
    async provideCompletionItems(model: Model, position: MonacoPosition) {
      const offers = (await offerings.get(model)?.(model.getValue(), model.getOffsetAt(position))) ?? [];
      const before = model.getLineContent(position.lineNumber).slice(0, position.column - 1);
      const typed = /(?:\$\{?\w*|[\w-]*)$/.exec(before)?.[0].length ?? 0;
      const range = {
        startLineNumber: position.lineNumber,
        endLineNumber: position.lineNumber,
        startColumn: position.column - typed,
        endColumn: position.column,
      };
      const suggestions = offers.map(({ label, kind, insert, detail }) => {
        return { label, detail, insertText: insert, range, kind: monaco.languages.CompletionItemKind[KINDS[kind]] };
      });
      return { suggestions };
    },
  });
}
