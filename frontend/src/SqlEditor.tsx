// The SQL editor: Grafana's code editor with completion, a mark at a mistake, and Ctrl+Enter.
import { CodeEditor, CodeEditorSuggestionItem, CodeEditorSuggestionItemKind } from '@grafana/ui';
import React, { useCallback, useEffect, useRef } from 'react';
import { Catalog, Offer, offers, offline } from './complete';
import { Editor, Monaco, provide } from './monaco';
import { Position } from './place';

interface Props {
  value: string;
  catalog: Catalog;
  variables: string[];
  mistake?: Position & { message: string };
  onChange: (value: string) => void;
  onRun: (value: string) => void;
  /** While typing, before the text is kept. */
  onType: (value: string) => void;
}

export function SqlEditor(props: Props) {
  const editor = useRef<{ editor: Editor; monaco?: Monaco } | undefined>(undefined);
  // Handlers of an editor are given once; this is what they see.
  const now = useRef(props);
  now.current = props;

  const mounted = (mountedEditor: Editor, given?: Monaco) => {
    // Before Grafana 8 Monaco was told to nobody but the page.
    const monaco = given ?? (window as unknown as { monaco?: Monaco }).monaco;
    editor.current = { editor: mountedEditor, monaco };
    mountedEditor.updateOptions({ ariaLabel: 'SQL. Ctrl+Enter runs it; Ctrl+M lets Tab leave the editor' });
    mountedEditor.onDidChangeModelContent(() => now.current.onType(mountedEditor.getValue()));
    if (monaco) {
      mountedEditor.addCommand(monaco.KeyMod.CtrlCmd | monaco.KeyCode.Enter, () => now.current.onRun(mountedEditor.getValue()));
      provide(monaco, mountedEditor, (sql, at) => offers(sql, at, now.current.catalog, now.current.variables));
    }
  };

  // The same at every render: another would be registered anew, at which Monaco asks again, and offers words.
  const suggestions = useCallback(() => (editor.current?.monaco ? [] : offline(now.current.variables).map(item)), []);

  const { mistake } = props;
  useEffect(() => {
    const model = editor.current?.editor.getModel();
    if (model) {
      editor.current?.monaco?.editor.setModelMarkers(model, 'weir', mistake ? [marker(mistake)] : []);
    }
  }, [mistake?.line, mistake?.column, mistake?.message]);

  return (
    <CodeEditor
      language="sql"
      height="180px"
      showLineNumbers={true}
      showMiniMap={false}
      value={props.value}
      onBlur={props.onChange}
      onSave={props.onRun}
      onEditorDidMount={mounted as (editor: unknown) => void}
      getSuggestions={suggestions}
    />
  );
}

function marker({ line, column, message }: Position & { message: string }) {
  const end = { endLineNumber: line, endColumn: column + 1 };
  // 8 is an error.
  return { startLineNumber: line, startColumn: column, ...end, message, severity: 8 };
}

function item({ label, insert, detail }: Offer): CodeEditorSuggestionItem {
  return { label, insertText: insert, detail, kind: CodeEditorSuggestionItemKind.Text };
}
